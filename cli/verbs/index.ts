/** The verbs, in the order in which the help shows them. */
import type { Verb } from "../verb";
import { adopt } from "./adopt";
import { capture } from "./capture";
import { check } from "./check";
import { doctor } from "./doctor";
import { down } from "./down";
import { drift } from "./drift";
import { exec } from "./exec";
import { experiment } from "./experiment";
import { firewall } from "./firewall";
import { graph } from "./graph";
import { images } from "./images";
import { lab } from "./lab";
import { move } from "./move";
import { policy } from "./policy";
import { reclaim } from "./reclaim";
import { repair } from "./repair";
import { report } from "./report";
import { routes } from "./routes";
import { setup } from "./setup";
import { status } from "./status";
import { trace } from "./trace";
import { up } from "./up";
import { validate } from "./validate";

export const allVerbs: readonly Verb[] = [
  up,
  down,
  status,
  validate,
  doctor,
  graph,
  drift,
  repair,
  reclaim,
  adopt,
  check,
  move,
  routes,
  policy,
  firewall,
  exec,
  capture,
  trace,
  experiment,
  report,
  lab,
  images,
  setup,
];
