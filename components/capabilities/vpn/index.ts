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
