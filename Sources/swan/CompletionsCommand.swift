import ArgumentParser

/// `swan completions`: prints a script with which a shell completes command lines.
struct CompletionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completions",
        abstract: "Print a script with which your shell completes swan's commands and options.",
        discussion: """
            The script asks swan for models and for the styles of a model, so 'swan' must be in PATH.

            EXAMPLES:
              swan completions bash > ~/.local/share/bash-completion/completions/swan
              swan completions zsh > ~/.zfunc/_swan        (with fpath+=~/.zfunc before compinit)
              swan completions fish > ~/.config/fish/completions/swan.fish
              source <(swan completions bash)              (for this shell alone)
            """
    )

    /// The shells that can be completed.
    enum Shell: String, ExpressibleByArgument, CaseIterable {
        case bash, zsh, fish

        var shell: CompletionShell {
            switch self {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        }
    }

    @Argument(help: "The shell.")
    var shell: Shell

    func run() throws {
        try StandardOutput.write(Swan.completionScript(for: shell.shell))
    }
}
