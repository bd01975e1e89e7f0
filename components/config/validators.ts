/** The schemas' validators. A bundle holds them compiled, from `ajv` and `refs`: support/start/makeBundle.mjs. */
import type { ValidateFunction } from "ajv";
import policySchema from "../net/policy/schema.json";
import type { Policies } from "../net/policy/types.gen";
import { schemaCompiler } from "./ajv";
import schema from "./schema.json";
import type { StackFile, Testbed } from "./types.gen";

export const ajv = schemaCompiler();
ajv.addSchema(schema, "testbed");
ajv.addSchema(policySchema, "policies");

export const refs = { testbed: "testbed", stackFile: "testbed#/definitions/StackFile", policies: "policies" } as const;
export const testbed = ajv.getSchema(refs.testbed) as ValidateFunction<Testbed>;
export const stackFile = ajv.getSchema(refs.stackFile) as ValidateFunction<StackFile>;
export const policies = ajv.getSchema(refs.policies) as ValidateFunction<Policies>;
