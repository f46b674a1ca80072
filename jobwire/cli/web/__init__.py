"""Serve a page that shows queues, workers and jobs of all peers, Perl's among them (extra ``web``).

    jobwire web                                       the prefix "jobs" of $JOBWIRE_URL, at http://127.0.0.1:8090
    jobwire web redis://a/0#jobs redis://b/0#mail     several servers and prefixes: the URL, #, the prefix

On loopback anybody on this machine may look. Anywhere else it wants a token (--token-file) or a proxy in front that
signs people in and names them in a header (--behind). Nothing that comes from Redis is taken for markup.
"""

from jobwire.cli.web.command import FROM_ENVIRONMENT, HELP, configure, run

__all__ = ["FROM_ENVIRONMENT", "HELP", "configure", "run"]
