export { evpnKind } from "./evpn";
