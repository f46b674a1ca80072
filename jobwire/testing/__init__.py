"""Help for tests of code that uses jobwire, and for jobwire's own.

``server``      a throw-away Redis or Valkey server
``scripted``    a transport that plays the server's part from a script
``strategies``  hypothesis strategies for job data, IDs, results, hashes of each dialect
``plugin``      pytest fixtures; ask for them with ``pytest_plugins = ["jobwire.testing.plugin"]``

Nothing is imported here, so that each can be used without the requirements of the others.
"""
