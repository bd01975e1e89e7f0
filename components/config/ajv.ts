/** What all of our schemas are compiled with. */
import Ajv from "ajv";

export function schemaCompiler(): Ajv {
  const ajv = new Ajv({ allErrors: true, verbose: true, discriminator: true, allowUnionTypes: true, code: { source: true } });
  // What to write in the place of what other kinds have.
  ajv.addVocabulary(["x-instead"]);
  return ajv;
}
