import ArgumentParser

/// The option that names a file with options.
enum SettingsOption {
    static let help = ArgumentHelp(
        "Read options from this file, such as 'max-frames: 100'; those of the command line win.",
        valueName: "yaml"
    )
}
