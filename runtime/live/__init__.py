"""A conversation as it happens: microphone, camera and loudspeaker on one clock."""
