export { checkedDeclaration } from "./check";
export { Testbed, type TestbedArgs } from "./testbed";
