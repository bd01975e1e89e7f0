export { Nva, type NvaArgs } from "./nva";
