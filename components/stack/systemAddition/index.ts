export { VpnSite } from "./systemAddition";
