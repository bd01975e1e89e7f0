export { type PartsSite, renderParts } from "./parts";
