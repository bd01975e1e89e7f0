export { Testbed, type TestbedArgs } from "./testbed";
