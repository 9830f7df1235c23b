'use strict';
// Entry of require('deep-hessian'). Node >= 20.19 loads ES modules from require; going through this file keeps one copy
// of the library for both kinds of importer.
module.exports = require('./dist/index.js');
