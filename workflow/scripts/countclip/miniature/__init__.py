"""The bundled world: scenes, captions, a server with faults. Real stages run on it offline."""
