"""Cases: data under ``conformance/cases``, their schema and their values."""
