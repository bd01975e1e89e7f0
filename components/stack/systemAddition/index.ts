export { Addition } from "./systemAddition";
