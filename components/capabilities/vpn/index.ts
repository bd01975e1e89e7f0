export { VpnSite } from "../../stack/vpnSite/vpnSite";
export {
  type GatewayPlan,
  gatewayOf,
  kernelRequirements,
  type VpnPlan,
  vpnObservations,
  vpnPlan,
  vpnRequirements,
  vpnSecrets,
} from "./plan";
