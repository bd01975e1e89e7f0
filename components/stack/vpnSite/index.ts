export { VpnSite } from "./vpnSite";
