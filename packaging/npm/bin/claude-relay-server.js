#!/usr/bin/env node
require('./run.js')('claude-relay-server')
