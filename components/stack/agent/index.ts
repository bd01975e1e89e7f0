export { Agent, type AgentArgs } from "./agent";
