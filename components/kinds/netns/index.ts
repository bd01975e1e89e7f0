export { netnsKind } from "./netns";
