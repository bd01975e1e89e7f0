/** What Pulumi's SDK (3.245) loads at every start, for functions that are written into the state: no program of ours has any. */
const seldom = ["typescript", "@npmcli/arborist"];

/** Stands for a module that is loaded when something is taken from it. */
function late(load) {
  let loaded;
  const get = (_, key) => (key === "__esModule" ? true : (loaded ??= load())[key]);
  return new Proxy({}, { get });
}

module.exports = { late, seldom };
