"""`python -m fhir_server.cli`, the same as `fhir-server`."""

import sys

from fhir_server.cli import main

sys.exit(main())
