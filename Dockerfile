# Node runs the TypeScript as it is: nothing to build.
FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund && npm cache clean --force
COPY migrations migrations
COPY src src
USER node
# Without a shell or npm between, so that SIGTERM arrives.
CMD ["node", "src/cli.ts", "worker"]
