export { fileOf, type PartsSite, renderParts } from "./parts";
