// Parses a project app with HubSpot's own library, as `hs project upload` does before it asks HubSpot.
// Prints JSON: the components by uid, and the faults. HubSpot's JSON schemas need an account, so they are
// not applied; what `hs project validate` checks on this machine is repeated here with the library's tables.
import path from "node:path";
import { Components } from "@hubspot/project-parsing-lib/constants";
import { isKnownPlatformVersion, parseProjectConfig } from "@hubspot/project-parsing-lib/projects";
import { mapToUserFacingType } from "@hubspot/project-parsing-lib/transform";
import { translate } from "@hubspot/project-parsing-lib/translate";
import { validateUid } from "@hubspot/project-parsing-lib/uid";

const folder = path.resolve(process.argv[2]);

function faultsOf(node, nodes) {
  const type = mapToUserFacingType(node.componentType);
  const component = Components[type];
  if (!component) return [`${node.metaFilePath}: unknown type ${type}`];
  const parent = component.parentComponent ? Components[component.parentComponent].dir : "";
  const found = [validateUid(node.uid), node.config ? null : "no config"];
  if (path.dirname(node.metaFilePath) !== path.join(parent, component.dir)) found.push("in another folder");
  if (parent && !nodes[node.componentDeps.app]) found.push("no app");
  const alike = Object.values(nodes).filter((other) => other.componentType === node.componentType);
  if (component.singularComponent && alike.length > 1) found.push("more than one");
  return found.filter(Boolean).map((fault) => `${node.metaFilePath}: ${fault}`);
}

async function parsed() {
  const { srcDir, platformVersion } = parseProjectConfig(folder);
  const context = { projectSourceDir: path.join(folder, srcDir), platformVersion, accountId: 1 };
  const { intermediateRepresentation, skippedHsMetaFiles } = await translate(context, { skipValidation: true });
  const nodes = intermediateRepresentation.intermediateNodesIndexedByUid;
  const faults = Object.values(nodes).flatMap((node) => faultsOf(node, nodes));
  if (!isKnownPlatformVersion(platformVersion)) faults.push(`unknown platform version ${platformVersion}`);
  faults.push(...skippedHsMetaFiles.map((file) => `${file}: skipped`));
  const components = Object.fromEntries(Object.values(nodes).map((node) => [node.uid, mapToUserFacingType(node.componentType)]));
  return { components, faults };
}

let result;
try {
  result = await parsed();
} catch (error) {
  result = { components: {}, faults: [error.message] };
}
console.log(JSON.stringify(result));
