export { Secrets, type SecretsArgs } from "./secrets";
