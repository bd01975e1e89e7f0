export { Nve, type NveArgs } from "./nve";
