"""The files of a HubSpot project app for a source, and the update of edited files. Pure."""

from integration.webhooks.hubspot_project.files import project_files
from integration.webhooks.hubspot_project.update import updated_files
from integration.webhooks.hubspot_project.workflow_action import reads_inputs, route_for_action

__all__ = ["project_files", "reads_inputs", "route_for_action", "updated_files"]
