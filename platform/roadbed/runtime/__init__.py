"""Where roadbed meets Ray: the only folder that imports it."""
