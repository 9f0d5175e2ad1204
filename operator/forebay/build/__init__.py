"""A container image of a serving script, made with no daemon: `forebay build`, and the Job of an ImageBuild."""
