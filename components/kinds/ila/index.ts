export { ilaKind } from "./ila";
