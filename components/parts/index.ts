export { contentOf, type PartsSite, renderParts } from "./parts";
