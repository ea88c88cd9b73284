"""The pages: what a signed-in person sees. `web.app` registers these blueprints."""

from web.pages import frame, guide, history, jobs, screen, screenings, status

blueprints = tuple(module.blueprint for module in (frame, screen, jobs, history, screenings, guide, status))
