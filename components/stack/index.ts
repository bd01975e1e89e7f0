export { checkedDeclaration } from "../plan/check";
export { Testbed, type TestbedArgs } from "./testbed";
