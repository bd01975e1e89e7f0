export { swarmKind } from "./swarm";
