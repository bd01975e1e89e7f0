export { secretResource, Secrets, type SecretsArgs } from "./secrets";
