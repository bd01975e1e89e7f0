export { bridgeKind } from "./bridge";
