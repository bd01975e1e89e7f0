/** One stack a server: declares what this stack's server holds. */
import * as pulumi from "@pulumi/pulumi";
import { writeSshConfig } from "./components/host/sshConfig";
import { checkedDeclaration } from "./components/plan/check";
import { Testbed } from "./components/stack";
import { readLabState } from "./lab/state";
import { projectName, projectRoot } from "./support/project";

const root = projectRoot();
const declaration = checkedDeclaration(root, readLabState(root), true);
writeSshConfig(root, declaration);
const testbed = new Testbed(pulumi.getStack(), { root, project: projectName(root), declaration });

const { systems, secrets } = testbed;
export = secrets === undefined ? { systems } : { systems, secrets };
