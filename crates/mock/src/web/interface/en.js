catalog = {};
