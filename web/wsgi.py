"""The application that gunicorn serves: `gunicorn web.wsgi:app`."""

import gc

from shared.process.logs import configure_logging
from shared.process.memory import spare_loaded
from shared.settings import load_settings
from web.app import create_app

configure_logging()
app = create_app(load_settings())
spare_loaded()
gc.enable()
