export { VpnSite } from "./components";
export { type GatewayPlan, gatewayOf, type VpnPlan, vpnObservations, vpnPlan, vpnSecrets } from "./plan";
