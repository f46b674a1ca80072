# A Redis server of a Debian release, for where no image of one can be pulled. Options of the server are its command,
# as with the official images.
ARG BASE
FROM ${BASE}
ARG RELEASE
RUN set -e; \
    . /etc/os-release; \
    if [ "$RELEASE" != "$VERSION_CODENAME" ]; then \
        sed "s/$VERSION_CODENAME/$RELEASE/g" /etc/apt/sources.list >"/etc/apt/sources.list.d/$RELEASE.list"; \
    fi; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --target-release "$RELEASE" redis-server; \
    rm -rf /var/lib/apt/lists/*; \
    mkdir /data; \
    chown redis: /data
VOLUME /data
WORKDIR /data
USER redis
EXPOSE 6379
ENTRYPOINT ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no"]
