export { TenantSystem, type TenantSystemArgs } from "./tenantSystem";
