"""What the student is trained, validated and tested on."""
