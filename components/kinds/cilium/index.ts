export { ciliumKind } from "./cilium";
