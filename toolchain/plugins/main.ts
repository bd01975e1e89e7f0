/** The program behind pulumi-resource-command, -random and -docker: the plugin is named first, the engine's arguments follow. */
import { commandPlugin } from "./command/plugin";
import { dockerPlugin } from "./docker/plugin";
import { serve } from "./plugin";
import { randomPlugin } from "./random/plugin";

const plugins = { command: commandPlugin, docker: dockerPlugin, random: randomPlugin };
const [name = "", ...args] = process.argv.slice(2);
const plugin = plugins[name as keyof typeof plugins];
if (plugin === undefined) {
  console.error(`usage: main (${Object.keys(plugins).join("|")}) ENGINE`);
  process.exit(2);
}
void serve(plugin, args);
