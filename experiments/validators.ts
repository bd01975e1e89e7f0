/** The experiments' validator, compiled where components/config/validators.ts is. */
import type { ValidateFunction } from "ajv";
import { schemaCompiler } from "../components/config/ajv";
import schema from "./schema.json";
import type { Experiment } from "./types.gen";

export const ajv = schemaCompiler();
ajv.addSchema(schema, "experiment");

export const refs = { experiment: "experiment" } as const;
export const experiment = ajv.getSchema(refs.experiment) as ValidateFunction<Experiment>;
