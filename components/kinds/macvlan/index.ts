export { macvlanKind } from "./macvlan";
