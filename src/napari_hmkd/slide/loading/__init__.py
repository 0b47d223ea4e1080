"""From a back end to pixels in memory: blocks, cache, colours, reading ahead."""
