namespace CarServer.State.Permissions;

/// <summary>The words by which an action is judged. Tools are named in English by custom; two words with a blank between them stand side by side.</summary>
/// <remarks>A guess from names protects against mistakes, not against malice: that is what policies, approvals and supervisors are for.</remarks>
internal static class RiskWords
{
    /// <summary>In front of a tool's name they say where, not what.</summary>
    public static readonly HashSet<string> Places = Words("git github gitlab fs file files db sql mcp memory state");

    /// <summary>As a tool's verb: it looks, and changes nothing.</summary>
    public static readonly HashSet<string> Reading = Words(
        "get list read search find view show describe query count fetch lookup check status inspect grep glob stat exists calculate diff compare parse",
        "validate verify analyze analyse summarize explain preview help info ls cat head tail ping poll");

    /// <summary>Anywhere in a tool's name: it changes something, and what it changes can be had back from where it lies.</summary>
    public static readonly HashSet<string> Editing = Words("write edit append patch mkdir touch copy move rename");

    /// <summary>Anywhere in a tool's name: it changes something that somebody else knows by then; only another act makes up for it.</summary>
    public static readonly HashSet<string> Compensable = Words(
        "create add insert update upsert set put replace modify enable disable open close lock unlock start stop push deploy publish upload post",
        "subscribe book reserve schedule grant commit merge install assign invite share mark tag register save store");

    /// <summary>Anywhere in a tool's name: nothing brings it back.</summary>
    public static readonly HashSet<string> Irreversible = Words(
        "delete remove rm drop destroy purge wipe erase truncate uninstall kill terminate shutdown reboot send notify broadcast tweet webhook pay payment charge",
        "refund transfer withdraw purchase buy checkout trade revoke exec execute eval shell sudo ssh scp sftp");

    /// <summary>Anywhere in a tool's name: it reaches others, destroys, or touches secrets.</summary>
    public static readonly HashSet<string> FullAccess =
    [
        .. Words("delete remove rm drop destroy purge wipe erase truncate uninstall kill terminate shutdown reboot send notify broadcast tweet webhook pay payment charge",
            "refund transfer withdraw purchase buy checkout trade revoke exec execute eval sudo ssh scp sftp push publish post deploy upload grant chmod chown",
            "impersonate migrate password secret secrets credential credentials keychain"),
        "http request", "place order", "api key", "private key", "access key",
    ];

    /// <summary>As a tool's verb; elsewhere in its name they are things.</summary>
    public static readonly HashSet<string> FullAccessVerbs = Words("email mail sms message call reply forward release order format install invite share");

    /// <summary>Programs and switches that make any command line one of full access.</summary>
    public static readonly HashSet<string> Commands = Words(
        "rm rmdir unlink shred dd mkfs fdisk parted sudo su doas ssh scp sftp rsync curl wget nc ncat netcat telnet ftp kill killall pkill shutdown reboot halt",
        "poweroff chmod chown chgrp mount umount crontab iptables nft passwd useradd userdel usermod eval mail sendmail systemctl launchctl sysctl modprobe dropdb",
        "powershell pwsh --force --force-with-lease --hard --no-preserve-root --no-verify -rf -fr");

    /// <summary>Programs that do so together with one of these words.</summary>
    public static readonly Dictionary<string, string[]> Subcommands = new(StringComparer.Ordinal)
    {
        ["git"] = ["push", "reset", "clean", "filter-branch"],
        ["npm"] = ["publish"], ["yarn"] = ["publish"], ["pnpm"] = ["publish"], ["cargo"] = ["publish"], ["twine"] = ["upload"], ["gem"] = ["push"],
        ["docker"] = ["push", "prune"], ["podman"] = ["push", "prune"],
        ["kubectl"] = ["apply", "delete", "drain"], ["helm"] = ["install", "upgrade", "uninstall", "delete"], ["terraform"] = ["apply", "destroy"],
        ["find"] = ["-delete", "-exec", "-execdir"],
    };

    /// <summary>In any text: two words, with white space between them.</summary>
    public static readonly (string First, string Second)[] Phrases =
        [("drop", "table"), ("drop", "database"), ("truncate", "table"), ("delete", "from"), ("rm", "-rf"), ("rm", "-fr"), ("git", "reset")];

    /// <summary>Parameters whose strings are one command line.</summary>
    public static readonly HashSet<string> CommandLine = Words("command args argv flags");

    /// <summary>Parameters, by the last word of their name, that say what the action is aimed at.</summary>
    public static readonly HashSet<string> Targets = Words(
        "path paths file files filename filepath dir directory folder target targets dest destination source src output input location root cwd uri url");

    /// <summary>In the name of a parameter: what it holds must not get out.</summary>
    public static readonly HashSet<string> SecretNames =
        [.. Words("password passwd passphrase secret secrets credential credentials apikey authorization"), "api key", "private key", "access key", "signing key", "encryption key"];

    /// <summary>A token behind one of these is a place in a list.</summary>
    public static readonly HashSet<string> ListTokens = Words("page next continuation pagination sync cursor");

    /// <summary>Parts of a path that lead to secrets, whatever lies below them.</summary>
    public static readonly HashSet<string> SecretParts = Words(
        ".ssh .gnupg .netrc .npmrc .pypirc .git-credentials .env .pgpass id_rsa id_dsa id_ecdsa id_ed25519 .aws/credentials .aws/config .kube/config .docker/config.json",
        "etc/shadow etc/sudoers etc/passwd");

    public static readonly string[] SecretExtensions = [".pem", ".p12", ".pfx", ".key", ".jks", ".keystore"];

    private static HashSet<string> Words(params ReadOnlySpan<string> lines)
    {
        var words = new HashSet<string>(StringComparer.Ordinal);
        foreach (string line in lines) words.UnionWith(line.Split(' '));
        return words;
    }
}
